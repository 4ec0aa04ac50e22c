"""Models: a `ModelSpec` becomes a pre-trained model and its tokenizer or image processor.

In: a specification of `config`. Out: `(model, processor)`, from the hub, a package that carries weights, or a folder.
Every `Auto*` class of transformers is called here. May import `config` and `records`.
"""
