"""What is installed: the command `emrlab`. In a wheel the checkout's files lie in this package."""
