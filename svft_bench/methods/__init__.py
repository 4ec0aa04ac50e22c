"""Methods: what papers compare, applied to a model, and how many parameters each trains.

In: a `MethodSpec` and a model. Out: the model with its adapter, the names that train, the counts in closed form.
May import `tuners` and what is below it.
"""
