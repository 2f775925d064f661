"""What scripts/bench is made of.

    rows       what is measured: names, arguments of the generator, figures, aims
    servers    zkd, Apache ZooKeeper and the floor: start, look at, end
    bench      one run: its options, its servers, its record of reports
    loads, fills, idle, latency, failover, scaling, robust     how the rows of each group are measured
    record     every report, as JSON lines and in memory
    table      the reports as Markdown
"""
