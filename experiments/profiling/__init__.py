"""Where the time of training goes: phases as a table, functions as a flame graph."""
