"""Runners do: one trial, from a frozen config to scored images. They know neither Optuna nor MLflow."""
