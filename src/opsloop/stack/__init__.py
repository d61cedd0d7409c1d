"""From a bundle and what runs now to a started, stopped, healthy stack on this machine."""
