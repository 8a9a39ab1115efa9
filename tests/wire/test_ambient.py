"""A machine learns its identity in clouds where the clouds' own libraries look for it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from sources.auth.ambient import aws, surroundings
from sources.auth.ambient.surroundings import NoIdentityError
from sources.auth.errors import CredentialsError
from sources.bucket.sigv4 import Keys
from tests.support import ambient, clouds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.ambient import Cloud

PLACE = ("eu-west-1", "amazonaws.com")
ROLES = "/latest/meta-data/iam/security-credentials/"
TOLD = {
    "AccessKeyId": "ASIA",
    "SecretAccessKey": "told",
    "Token": "session",
    "Expiration": "2026-01-02T01:00:00Z",
}
ASSUMED = """<R><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>lent</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2026-01-02T01:00:00Z</Expiration></Credentials></R>"""
SCOPE = "https://storage.azure.com/.default"
ENTRA = "/tenant/oauth2/v2.0/token"


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with ambient.serving(tmp_path) as serving:
        yield serving


# AWS --------------------------------------------------------------------------------------------


async def test_keys_of_the_environment_come_first(cloud: Cloud) -> None:
    cloud.file(".aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
    environ = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}
    found = await cloud.machine(**environ, AWS_SESSION_TOKEN="ST").aws(PLACE)
    assert found.value == Keys("AK", "SK", "ST")
    assert (await cloud.machine(**environ).aws(PLACE)).value == Keys("AK", "SK")
    assert not cloud.asked


async def test_web_identity_is_exchanged_for_a_role(cloud: Cloud) -> None:
    cloud.answers["/"] = ASSUMED
    machine = cloud.machine(
        AWS_WEB_IDENTITY_TOKEN_FILE=cloud.file("token", "word\n"),
        AWS_ROLE_ARN="arn:aws:iam::1:role/r",
        AWS_ENDPOINT_URL_STS=cloud.url,
    )
    assert (await machine.aws(PLACE)).value == Keys("ASIA", "lent", "session")
    (asked,) = cloud.asked
    assert asked.form["WebIdentityToken"] == "word"
    assert asked.form["RoleArn"] == "arn:aws:iam::1:role/r"


async def test_profile_is_the_one_that_is_chosen(cloud: Cloud) -> None:
    cloud.file(
        ".aws/credentials",
        "[default]\naws_access_key_id = D\naws_secret_access_key = S\n"
        "[work]\naws_access_key_id = W\naws_secret_access_key = S\naws_session_token = T\n",
    )
    cloud.file(
        ".aws/config", "[profile work]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n"
    )
    assert (await cloud.machine().aws(PLACE)).value == Keys("D", "S")
    assert (await cloud.machine(AWS_PROFILE="work").aws(PLACE)).value == Keys("W", "S", "T")
    with pytest.raises(CredentialsError, match="profile 'none' of AWS holds no keys in"):
        await cloud.machine(AWS_PROFILE="none").aws(PLACE)


@pytest.mark.parametrize("way", ["credential_process", "sso_session", "role_arn"])
async def test_profile_that_gets_its_keys_elsewhere_is_told(cloud: Cloud, way: str) -> None:
    cloud.file(".aws/config", f"[default]\n{way} = /bin/hush\n")
    with pytest.raises(CredentialsError, match=f"profile 'default' .* '{way}'") as caught:
        await cloud.machine().aws(PLACE)
    assert "hush" not in str(caught.value)


async def test_file_of_profiles_that_is_none_is_told_without_its_content(cloud: Cloud) -> None:
    cloud.file(".aws/credentials", "hush-hush\n")
    with pytest.raises(CredentialsError, match="no file of AWS's profiles") as caught:
        await cloud.machine().aws(PLACE)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("is_file", [True, False])
async def test_container_is_told_its_keys(cloud: Cloud, *, is_file: bool) -> None:
    cloud.answers["/v1/credentials"] = TOLD
    shown = (
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": cloud.file("pod", "shown")}
        if is_file
        else {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "shown"}
    )
    url = f"{cloud.url}/v1/credentials"
    found = await cloud.machine(AWS_CONTAINER_CREDENTIALS_FULL_URI=url, **shown).aws(PLACE)
    assert found.value == Keys("ASIA", "told", "session")
    assert cloud.asked[0].headers["Authorization"] == "shown"


async def test_container_asks_nobody_far_away_in_clear(cloud: Cloud) -> None:
    machine = cloud.machine(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://example.com/keys")
    with pytest.raises(CredentialsError, match="neither https nor loopback"):
        await machine.aws(PLACE)


async def test_instance_is_told_its_keys_by_a_session(cloud: Cloud) -> None:
    cloud.answers |= {"/latest/api/token": "ticket", ROLES: "reader\n", f"{ROLES}reader": TOLD}
    machine = cloud.machine(AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.url)
    assert (await machine.aws(PLACE)).value == Keys("ASIA", "told", "session")
    ticket, *rest = cloud.asked
    assert (ticket.method, ticket.headers["X-aws-ec2-metadata-token-ttl-seconds"]) == ("PUT", "60")
    assert [each.headers["X-aws-ec2-metadata-token"] for each in rest] == ["ticket"] * 2


async def test_keys_are_kept_until_shortly_before_they_end(cloud: Cloud) -> None:
    cloud.answers |= {"/latest/api/token": "ticket", ROLES: "reader", f"{ROLES}reader": TOLD}
    machine = cloud.machine(AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.url)
    for _ in range(3):
        await machine.aws(PLACE)
    assert len(cloud.asked) == 3
    cloud.clock.move(3600 - 299)
    await machine.aws(PLACE)
    assert len(cloud.asked) == 6


async def test_instance_without_a_role_is_told(cloud: Cloud) -> None:
    cloud.answers["/latest/api/token"] = "ticket"
    with pytest.raises(CredentialsError, match=r"identity of this machine is not told.*404"):
        await cloud.machine(AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.url).aws(PLACE)


async def test_machine_without_an_identity_is_asked_once_a_minute(cloud: Cloud) -> None:
    closed = cloud.machine(AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:1")
    with pytest.raises(NoIdentityError, match="set AWS_ACCESS_KEY_ID and"):
        await closed.aws(PLACE)
    cloud.file(".aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
    with pytest.raises(NoIdentityError, match="set AWS_ACCESS_KEY_ID and"):
        await closed.aws(("us-east-1", "amazonaws.com"))
    cloud.clock.move(61)
    assert (await closed.aws(PLACE)).value == Keys("A", "B")


async def test_switched_off_metadata_is_not_asked(cloud: Cloud) -> None:
    machine = cloud.machine(
        AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.url, AWS_EC2_METADATA_DISABLED="true"
    )
    with pytest.raises(NoIdentityError):
        await machine.aws(PLACE)
    assert not cloud.asked


async def test_nobody_waits_long_for_metadata(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(surroundings, "ANSWER_S", 0.05)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        machine = cloud.machine(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{port}")
        with pytest.raises(NoIdentityError):
            await machine.aws(PLACE)


@pytest.mark.parametrize("answer", ["", "{}", {"AccessKeyId": "A"}, TOLD | {"Expiration": "soon"}])
async def test_answer_without_keys_is_told_without_it(cloud: Cloud, answer: Any) -> None:
    cloud.answers["/c"] = answer
    with pytest.raises(CredentialsError, match="told without keys"):
        await cloud.machine(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{cloud.url}/c").aws(PLACE)


async def test_container_of_a_task_is_told_at_the_tasks_address(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "CONTAINER", cloud.url)
    cloud.answers["/v2/credentials/1"] = TOLD
    machine = cloud.machine(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2/credentials/1")
    assert (await machine.aws(PLACE)).value.secret_key == "told"


# Google -----------------------------------------------------------------------------------------


async def test_key_of_a_service_account_signs_for_a_token(cloud: Cloud) -> None:
    cloud.answers["/token"] = {"access_token": "google", "expires_in": 3599}
    account = {
        "type": "service_account",
        "client_email": clouds.EMAIL,
        "private_key": clouds.pem(),
        "token_uri": f"{cloud.url}/token",
    }
    path = cloud.file("key.json", json.dumps(account))
    machine = cloud.machine(GOOGLE_APPLICATION_CREDENTIALS=path)
    assert (await machine.google("a-scope")).value == "google"
    claims = clouds.claims(cloud.asked[0].form["assertion"])
    assert claims is not None
    assert (claims[1]["iss"], claims[1]["scope"]) == (clouds.EMAIL, "a-scope")


@pytest.mark.parametrize("is_named", [True, False])
async def test_login_of_a_user_is_refreshed(cloud: Cloud, *, is_named: bool) -> None:
    cloud.answers["/token"] = {"access_token": "google"}
    user = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r",
        "token_uri": f"{cloud.url}/token",
    }
    path = cloud.file(".config/gcloud/application_default_credentials.json", json.dumps(user))
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": path} if is_named else {}
    assert (await cloud.machine(**environ).google("scope")).value == "google"
    assert cloud.asked[0].form == {
        "client_id": "c",
        "client_secret": "s",
        "grant_type": "refresh_token",
        "refresh_token": "r",
    }


async def test_instance_of_google_is_told_a_token_for_the_scope(cloud: Cloud) -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    cloud.answers[path] = {"access_token": "google", "expires_in": 600, "token_type": "Bearer"}
    machine = cloud.machine(GCE_METADATA_HOST=cloud.url.removeprefix("http://"))
    found = await machine.google("a-scope")
    assert (found.value, (found.ends_at - cloud.clock.now()).total_seconds()) == ("google", 600)
    assert cloud.asked[0].headers["Metadata-Flavor"] == "Google"
    assert cloud.asked[0].query == {"scopes": "a-scope"}
    assert (await machine.google("another")).value == "google"
    assert len(cloud.asked) == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hush", "holds no credentials of Google's"),
        ('{"type": "authorized_user", "client_id": "hush"}', "holds no credentials of Google's"),
        ('{"type": "external_account"}', "type 'external_account' are not followed"),
    ],
)
async def test_file_of_google_that_does_not_do_is_told(
    cloud: Cloud, content: str, text: str
) -> None:
    path = cloud.file("key.json", content)
    with pytest.raises(CredentialsError, match=text) as caught:
        await cloud.machine(GOOGLE_APPLICATION_CREDENTIALS=path).google("scope")
    assert "hush" not in str(caught.value)


async def test_file_of_google_that_is_not_there_is_named(cloud: Cloud) -> None:
    with pytest.raises(CredentialsError, match=r"/none\.json cannot be read: No such file"):
        await cloud.machine(GOOGLE_APPLICATION_CREDENTIALS="/none.json").google("scope")


async def test_machine_that_google_does_not_know_is_told(cloud: Cloud) -> None:
    with pytest.raises(NoIdentityError, match="set GOOGLE_APPLICATION_CREDENTIALS, or run"):
        await cloud.machine(GCE_METADATA_HOST="127.0.0.1:1").google("scope")


# Azure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proof", "shown"),
    [
        ({"AZURE_CLIENT_SECRET": "hush"}, {"client_secret": "hush"}),
        ({"AZURE_FEDERATED_TOKEN_FILE": "~/token"}, {"client_assertion": "word"}),
    ],
)
async def test_application_proves_itself(
    cloud: Cloud, proof: dict[str, str], shown: dict[str, str]
) -> None:
    cloud.file("token", "word\n")
    cloud.answers[ENTRA] = {"access_token": "entra"}
    environ = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client"}
    machine = cloud.machine(AZURE_AUTHORITY_HOST=f"{cloud.url}/", **environ, **proof)
    assert (await machine.azure(SCOPE)).value == "entra"
    form = cloud.asked[0].form
    assert shown.items() <= form.items()
    assert (form["client_id"], form["scope"]) == ("client", SCOPE)


async def test_application_that_entra_refuses_is_told_without_its_secret(cloud: Cloud) -> None:
    cloud.answers[ENTRA] = 401
    machine = cloud.machine(
        AZURE_AUTHORITY_HOST=cloud.url,
        AZURE_TENANT_ID="tenant",
        AZURE_CLIENT_ID="client",
        AZURE_CLIENT_SECRET="hush",
    )
    with pytest.raises(CredentialsError, match="the token endpoint refuses") as caught:
        await machine.azure(SCOPE)
    assert "hush" not in str(caught.value)


async def test_managed_identity_is_told_by_the_instance(cloud: Cloud) -> None:
    path = "/metadata/identity/oauth2/token"
    cloud.answers[path] = {"access_token": "managed", "expires_in": "3599", "expires_on": "1"}
    machine = cloud.machine(AZURE_POD_IDENTITY_AUTHORITY_HOST=cloud.url, AZURE_CLIENT_ID="client")
    found = await machine.azure(SCOPE)
    assert (found.value, (found.ends_at - cloud.clock.now()).total_seconds()) == ("managed", 3599)
    (asked,) = cloud.asked
    assert asked.headers["Metadata"] == "true"
    assert asked.query == {
        "api-version": "2018-02-01",
        "client_id": "client",
        "resource": "https://storage.azure.com",
    }


async def test_managed_identity_is_told_by_an_app_service(cloud: Cloud) -> None:
    cloud.answers["/msi"] = {"access_token": "managed", "expires_on": "2082758400"}
    machine = cloud.machine(IDENTITY_ENDPOINT=f"{cloud.url}/msi", IDENTITY_HEADER="header")
    found = await machine.azure(SCOPE)
    assert (found.value, int(found.ends_at.timestamp())) == ("managed", 2082758400)
    assert cloud.asked[0].headers["X-IDENTITY-HEADER"] == "header"
    assert cloud.asked[0].query["api-version"] == "2019-08-01"


async def test_machine_that_azure_does_not_know_is_told(cloud: Cloud) -> None:
    machine = cloud.machine(AZURE_POD_IDENTITY_AUTHORITY_HOST="http://127.0.0.1:1")
    with pytest.raises(NoIdentityError, match="set AZURE_TENANT_ID and AZURE_CLIENT_ID with"):
        await machine.azure(SCOPE)


@pytest.mark.parametrize("answer", ["", {"access_token": "a", "expires_in": "soon"}])
async def test_answer_of_azure_without_a_token_is_told(cloud: Cloud, answer: Any) -> None:
    cloud.answers["/metadata/identity/oauth2/token"] = answer
    with pytest.raises(CredentialsError, match="Azure tells this machine no token"):
        await cloud.machine(AZURE_POD_IDENTITY_AUTHORITY_HOST=cloud.url).azure(SCOPE)


async def test_machine_shows_nothing_of_its_environment(cloud: Cloud) -> None:
    machine = cloud.machine(AWS_SECRET_ACCESS_KEY="hush", AWS_ACCESS_KEY_ID="A")
    assert "hush" not in repr(machine)
    assert "hush" not in repr(await machine.aws(PLACE))
