"""Packed films -> the views that an objective asks for, cut for the whole batch where the films lie.

plan      which views: their number, size, crop and mask
boxes     where each view lies in its film, and how it is changed: the random draws
masks     which patches a view keeps: more draws
resample  boxes of pixels -> antialiased views
fused     the same in one kernel, for a GPU
draw      all of it for one step
"""
