"""Training by a recipe, and the callbacks for it."""
