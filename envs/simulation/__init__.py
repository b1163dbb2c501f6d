"""The combat simulation: integer rules compiled with numba. Import what you need from its modules."""
