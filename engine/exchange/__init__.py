"""Tables in and out: every row of a list as a file, and the rows of a file through the road of every other write."""
