"""Search for models that keep given limits: plans from sensitivities seed Optuna's sampler, workers measure.

Nothing is chosen by the test split: trials are compared by their accuracy on a sample of the training split that
neither calibration nor training sees. What is found is then measured in full like any other recipe.
"""
