"""EMR's operations, by their subjects: each takes a request's members and returns the response's.

Requests only change what is remembered; a cluster's thread (lifecycle.py) does the rest.
"""
