"""Evidence for the systems of others: OCSF events and OpenTelemetry logs."""
