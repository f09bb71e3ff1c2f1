"""Training: from a plan to a published encoder.

    plan        what a run will do, checked before its first step        estimate   what it will take
    loop        one run from start to end                                step       one step of it
    state       all that a step changes                                  schedule   rates as functions of the step
    feed        films, brought to the device ahead of their step         device     where they are computed
    folder      the run's folder: what it is, what it publishes          order      which films a step is made of
    checkpoint  states on the disk
    ranks       processes that share a run                               compiler   compiled graphs, where they work
    stop        signals, kept until a step is done                       pace       how often to do what delays a step

The watchers read numbers and change none, but for the guard:
    guard       keeps a number that is not finite from every weight, on the device
    meter       brings the numbers of each step to the host without a wait
    recorder    writes them into journal, events and progress line; stops the run when the guard has spoken
    alarms      reads them for collapse and jumps of the loss
    health      measures the rank of the features now and then
    panel       probes the encoder on a few films now and then
"""
