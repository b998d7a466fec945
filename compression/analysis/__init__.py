"""What is found out about measured artifacts: behaviour, differences, distributions, sensitivities, other runtimes."""
