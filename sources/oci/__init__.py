"""OCI registries: pull manifests and blobs, unpack them, verify who signed them.

`client.Client` speaks to registries; one serves the whole daemon. What to ask is a
`client.Repository`: a name, a login, what to trust, a proxy. A caller that wants a Helm chart::

    name = names.parse("oci://ghcr.io/stefanprodan/charts/podinfo")
    login = keychain.from_secret(data, "apps/registry").login(name)
    repository = client.Repository(name, login)

    tags = await registries.tags(repository)
    found = await registries.resolve(repository, "6.9.0")         # by HEAD; a Descriptor
    manifest = await registries.manifest(repository, found.digest)
    layer = manifest.layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    chart = await registries.read(repository, layer, limit=10 * 2**20)   # or download() to a file

Everything that goes wrong is a `errors.RegistryError`, whose text is fit for users.
"""
