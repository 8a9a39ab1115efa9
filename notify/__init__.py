"""Takes events from the bus and hands each piece of news to the sinks, once."""
