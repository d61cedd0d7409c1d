"""The closed loop: a pure core that sees the world only through its ports."""
