"""What a flow run reports: artifacts, log lines, events and OpenLineage."""
