"""Clients that write on threads of their own while something happens to their servers.

A client has `run(stopped)`, which writes until the event is set, and `acks`, the number of writes that it was acknowledged.
"""
import threading

from ensemble import poll


class Load:
    """These clients, until the block ends. What one of them has found wrong is raised where somebody waits for them."""
    # What `progress` waits for if it is not told: so many acknowledgements of each, and for how long (seconds).
    acks, patience = 10, 60

    def __init__(self, clients):
        self.clients = clients
        self.stopped = threading.Event()
        self.failures = []
        self.threads = [threading.Thread(target=self.run, args=(client,), daemon=True) for client in clients]

    def run(self, client):
        try:
            client.run(self.stopped)
        except BaseException as failure:
            self.failures.append(failure)
            self.stopped.set()

    def progress(self, acks=None):
        """Until each client has got so many more acknowledgements."""
        goals = [client.acks + (acks or self.acks) for client in self.clients]

        def reached():
            if self.failures:
                raise self.failures[0]
            return all(client.acks >= goal for client, goal in zip(self.clients, goals))

        poll(reached, self.patience, lambda: "no client may stand still: acknowledged %s, wanted %s" % (
            [client.acks for client in self.clients], goals))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        if kind is None and self.failures:
            raise self.failures[0]
