"""SNMP devices as terminals: polled, mapped onto the same configuration, counted like any other.

``session`` asks, ``walk`` bounds what is read of a table, ``mapping`` makes a configuration of it, ``counters`` tells
units from readings, ``records`` keeps all of it, ``manager`` holds the schedule, ``traps`` brings polls forward.
"""
