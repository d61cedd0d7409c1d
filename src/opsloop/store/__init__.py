"""The engine's durable state behind the Store port."""
