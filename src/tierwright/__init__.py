"""Which tenant may use which feature, AI model, component and integration, and why."""
