"""What runs when: the steps from files to a committed version, and the Prefect flow over them.

What knows Prefect, its server or its page says so in its first line; the steps are plain functions
over folders.
"""
