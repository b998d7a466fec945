"""Layer-wise solvers: weights that keep a layer's output, given the Hessian of its inputs."""
