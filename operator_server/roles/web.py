"""The web role: the repository, the API, and the offers page of devices' users."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fastapi import FastAPI
from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.devices.visitors import device_configurations
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers
from operator_server.web.app import create_app
from operator_server.web.calls import Web
from operator_server.web.jobs import Jobs
from operator_server.web.offers_page import OffersPage
from operator_server.web.warm import warm

log = Logger()


class WebRole:
    """Composes the application; its offers are kept up to date by a thread while the role runs."""

    def __init__(self, operator: Operator) -> None:
        self._fresh = FreshOffers(operator, device_configurations)
        pages = OffersPage(operator, self._fresh.live).routes()
        self.app: FastAPI = create_app(operator.repository_dir, pages, Web(operator, self._fresh.live))
        self._jobs: Jobs = self.app.state.jobs
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="offers", daemon=True)

    def start(self) -> None:
        """Begin to follow files and releases, and work that another process has left."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look at hand; what is worked on here another process may go on with."""
        self._stopping.set()
        self._thread.join()
        self._jobs.release()

    def _refresh(self) -> None:
        self._try(lambda: warm(self.app), "the first pages are not ready; they come slowly once")
        while not self._stopping.wait(REFRESH_SECONDS):
            self._try(self._fresh.take_over_changes, "changed offers were not taken over")
            self._try(self._jobs.resume, "work that was left was not taken over")

    def _try(self, work: Callable[[], object], otherwise: str) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - whatever it is, what is in force stays and the next look may do
            log.failure("{otherwise}", otherwise=otherwise)
