"""What a configuration costs before it is run: devices, cost model, plan."""
