"""Do one step, or answer one question: supervisord, Prometheus, Alertmanager, HTTP."""
