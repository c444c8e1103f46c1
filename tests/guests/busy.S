# The counting guest of counter.S, which writes to 23 MiB of its memory over and over instead of sleeping: a live migration at a few
# MiB a second never comes to its end. It needs 32 MiB.
        .set    DIRTIES, 1
        .include "counter.S"
