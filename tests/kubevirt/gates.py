"""KubeVirt's feature gates, by the rule that 1.9 has for them (its featuregate/feature-gates.go): what is said of one, else on where it is beta."""

BETA = ("DeclarativeHotplugVolumes", "GPUsWithDRA", "HostDevicesWithDRA", "Snapshot", "VMExport", "ExpandDisks")


def is_on(kubevirt, gate):
    developer = ((kubevirt or {}).get("spec") or {}).get("configuration", {}).get("developerConfiguration", {})
    return gate in (developer.get("featureGates") or []) or (gate in BETA and gate not in (developer.get("disabledFeatureGates") or []))
