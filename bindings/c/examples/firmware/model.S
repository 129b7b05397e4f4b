/* The model `hello` in flash, in a section of its own. MODEL is its path. */
    .section .model, "a"
    .balign 64
    .globl model_start, model_end
model_start:
    .incbin MODEL
model_end:
