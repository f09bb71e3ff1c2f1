"""Encoders and objectives.

objective  what a training objective is: the seam between the loop and the equations
build      from a recipe to the model of its objective
msn        masked siamese networks, with the health record on the anchor's side
heads      projection head and fusion with the record        queue    films of the last steps
vit        timm's vision transformer on grey films           encoder  what a run publishes
narrow     its weights in bf16, for the length of a step
stream     views of several sizes through it at once         class_token  its last block, for one token alone
"""
