"""What makes a point: a recipe becomes an artifact, is executed and weighed, and its result is stored."""
