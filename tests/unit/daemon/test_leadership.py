from __future__ import annotations

import pytest

from api.instance import Cluster, Distribution, FluxInstance, FluxInstanceSpec
from daemon import kinds, leadership
from kube.lease import Holding

FREE = Holding("", is_ours=False, is_free=True, takeover="")
OURS = Holding("gitopsd_me", is_ours=True, is_free=False, takeover="")
FLUX = Holding("flux-pod", is_ours=False, is_free=False, takeover="")
ORDERED = FLUX._replace(takeover="ann")
OTHER = Holding("gitopsd_other", is_ours=False, is_free=False, takeover="ann")


def judge(holding: Holding, replicas: int = 0) -> leadership.Standing:
    return leadership.judge(kinds.KUSTOMIZATIONS, "flux-system", holding, replicas)


@pytest.mark.parametrize("holding", [FREE, OURS, ORDERED])
def test_lease_that_is_free_ours_or_ordered_leads(holding: Holding) -> None:
    assert judge(holding) is leadership.LEADING


def test_lease_that_flux_holds_is_observed() -> None:
    standing = judge(FLUX)

    assert standing.mode is leadership.Mode.OBSERVING
    assert "Lease flux-system/kustomize-controller-leader-election is held by flux-pod" in (
        standing.reason
    )


def test_lease_of_another_daemon_is_observed_whatever_is_ordered() -> None:
    standing = judge(OTHER)

    assert standing.mode is leadership.Mode.OBSERVING
    assert standing.reason.endswith("is held by gitopsd_other, another gitopsd")


@pytest.mark.parametrize("holding", [FREE, OURS])
def test_running_deployment_is_observed_without_an_order(holding: Holding) -> None:
    standing = judge(holding, replicas=2)

    assert standing.mode is leadership.Mode.OBSERVING
    assert "Deployment flux-system/kustomize-controller has 2 replicas" in standing.reason


@pytest.mark.parametrize("holding", [ORDERED, OURS._replace(takeover="ann")])
def test_running_deployment_does_not_stop_an_ordered_takeover(holding: Holding) -> None:
    assert judge(holding, replicas=1) is leadership.LEADING


def flux(*components: str, multitenant: bool = False) -> FluxInstance:
    distribution = Distribution(version="2.x", registry="ghcr.io/fluxcd")
    return FluxInstance(
        spec=FluxInstanceSpec(
            distribution=distribution,
            components=components,
            cluster=Cluster(multitenant=multitenant),
        )
    )


def test_all_components_are_on_without_an_instance() -> None:
    assert all(leadership.is_enabled(component, None) for component in kinds.COMPONENTS)


def test_instance_switches_components_but_never_what_reconciles_itself() -> None:
    instance = flux("source-controller")

    on = [each for each in kinds.COMPONENTS if leadership.is_enabled(each, instance)]

    assert on == [kinds.OPERATOR, kinds.SOURCES]
