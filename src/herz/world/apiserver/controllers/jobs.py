"""Jobs: pods until enough of them have succeeded, or too many failed.

Counts never go down: a pod that has ended may be deleted, and still counts. Indexed jobs and
policies for failed pods are refused when the job is made (`objects.rules`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from herz.world.apiserver.controllers.plan import (
    Action,
    Delete,
    Plan,
    View,
    condition_of,
    is_active,
    is_deleted,
    is_ready,
    status_write,
)
from herz.world.apiserver.controllers.workloads import (
    BURST_MAX,
    PODS,
    concerned_owner,
    managed,
    pod_of,
)
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.registry.deletion import Deletion
from herz.world.apiserver.registry.times import age_s, seconds_text
from herz.world.apiserver.store import Change, Key, Version

Content = dict[str, Any]

JOBS = kind_of("jobs.batch")
_BACKOFF_S = (10, 360)
"""After the first failure, and at most: doubled in between."""


class Jobs:
    """Runs each Job's pods to its end."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The job itself, or the one that manages the pod."""
        return concerned_owner(change, view, JOBS, "")

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Make pods, end the job, or delete it when its time is over."""
        job = view.get(key)
        if job is None or is_deleted(job):
            return Plan()
        if _is_over(job):
            return _expire(job, at)
        pods = managed(view, job, "pods")
        active = [pod for pod in pods if is_active(pod)]
        status = _counted(job, pods, active, at)
        failure, again_s = _failure(job, status, at)
        plan = Plan(again_s=again_s)
        if failure:
            plan.actions += _delete(active)
            status |= {"active": 0, "ready": 0}
            _end(job, status, "Failed", *failure, at)
        elif _is_complete(job, status):
            plan.actions += _delete(active)
            status |= {"active": 0, "ready": 0}
            text = "Reached expected number of succeeded pods"
            _end(job, status, "SuccessCriteriaMet", "CompletionsReached", text, at)
            _end(job, status, "Complete", "CompletionsReached", text, at)
            status["completionTime"] = seconds_text(at)
        else:
            wait_s = self._steer(plan, job, status, pods, active, at)
            waits = [wait for wait in (plan.again_s, wait_s) if wait is not None]
            plan.again_s = min(waits) if waits else None
        shown = {name: value for name, value in status.items() if value not in (0, [], {})}
        plan.actions += status_write(JOBS, job, shown)
        return plan

    def _steer(
        self,
        plan: Plan,
        job: Version,
        status: Content,
        pods: list[Version],
        active: list[Version],
        at: datetime,
    ) -> float | None:
        """Make or delete pods of a job that goes on; gives the wait for the next try."""
        spec = job.content["spec"]
        if spec.get("suspend"):
            plan.actions += _delete(active)
            _end(job, status, "Suspended", "JobSuspended", "Job suspended", at)
            return None
        wanted = int(spec.get("parallelism", 1))
        if spec.get("completions") is not None:
            left = int(spec["completions"]) - int(status.get("succeeded", 0))
            wanted = min(wanted, max(0, left))
        elif status.get("succeeded"):
            wanted = min(wanted, len(active))
        missing = wanted - len(active)
        if missing < 0:
            plan.actions += _delete(active[missing:])
        if missing <= 0:
            return None
        wait_s = _backoff(status, pods, at)
        if wait_s > 0:
            return wait_s
        template = spec["template"]
        plan.actions += [pod_of(JOBS, job, template) for _ in range(min(missing, BURST_MAX))]
        return None


def _is_over(job: Version) -> bool:
    ends = (condition_of(job.content, name) for name in ("Complete", "Failed"))
    return any(end.get("status") == "True" for end in ends)


def _expire(job: Version, at: datetime) -> Plan:
    """Delete a job that has ended for long enough, if it says so."""
    keep_s = job.content["spec"].get("ttlSecondsAfterFinished")
    if keep_s is None:
        return Plan()
    ends = (condition_of(job.content, name) for name in ("Complete", "Failed"))
    since = max(str(end.get("lastTransitionTime", "")) for end in ends)
    left_s = keep_s - age_s(since, at)
    if left_s > 0:
        return Plan(again_s=left_s)
    how = Deletion(policy="Foreground", uid=job.uid)
    return Plan([Delete(JOBS, job.key.namespace, job.key.name, how)])


def _counted(job: Version, pods: list[Version], active: list[Version], at: datetime) -> Content:
    """The status with today's counts."""
    status = dict(job.copy().get("status", {}))
    phases = [pod.content.get("status", {}).get("phase") for pod in pods]
    for name, phase in (("succeeded", "Succeeded"), ("failed", "Failed")):
        status[name] = max(int(status.get(name, 0)), phases.count(phase))
    status["active"] = len(active)
    status["ready"] = sum(map(is_ready, active))
    status["terminating"] = sum(is_deleted(pod) for pod in pods)
    is_suspended = bool(job.content["spec"].get("suspend"))
    if "startTime" not in status and not is_suspended:
        status["startTime"] = seconds_text(at)
    if not is_suspended and condition_of(job.content, "Suspended").get("status") == "True":
        kept = [item for item in status["conditions"] if item.get("type") != "Suspended"]
        status["conditions"] = kept
        status["startTime"] = seconds_text(at)
    return status


def _failure(
    job: Version, status: Content, at: datetime
) -> tuple[tuple[str, str] | None, float | None]:
    """Why the job has failed, if it has; else when its deadline has to be looked at."""
    spec = job.content["spec"]
    if int(status.get("failed", 0)) > int(spec.get("backoffLimit", 6)):
        return ("BackoffLimitExceeded", "Job has reached the specified backoff limit"), None
    deadline_s = spec.get("activeDeadlineSeconds")
    if deadline_s is None or "startTime" not in status or spec.get("suspend"):
        return None, None
    left_s = int(deadline_s) - age_s(status["startTime"], at)
    if left_s <= 0:
        return ("DeadlineExceeded", "Job was active longer than specified deadline"), None
    return None, left_s


def _is_complete(job: Version, status: Content) -> bool:
    completions = job.content["spec"].get("completions")
    done = int(status.get("succeeded", 0))
    if completions is None:
        return done > 0 and not status.get("active")
    return done >= int(completions)


def _backoff(status: Content, pods: list[Version], at: datetime) -> float:
    """Seconds until the next pod may be made; pods that failed one after another make it longer."""
    failed = int(status.get("failed", 0))
    if not failed:
        return 0.0
    ended = [age_s(_end_time(pod), at) for pod in pods if _end_time(pod)]
    first_s, most_s = _BACKOFF_S
    wait_s = min(first_s * 2 ** min(failed - 1, 16), most_s)
    return wait_s - min(ended) if ended else 0.0


def _end_time(pod: Version) -> str:
    """When the pod failed; empty where it did not."""
    status = pod.content.get("status", {})
    if status.get("phase") != "Failed":
        return ""
    ends = [
        item.get("state", {}).get("terminated", {}).get("finishedAt", "")
        for item in status.get("containerStatuses", ())
    ]
    return max(ends, default="")


def _end(job: Version, status: Content, kind: str, reason: str, message: str, at: datetime) -> None:
    """Add a condition that is true from now on."""
    if condition_of(job.content, kind).get("status") == "True":
        return
    time = seconds_text(at)
    shown = {"type": kind, "status": "True", "lastProbeTime": time, "lastTransitionTime": time}
    others = [item for item in status.get("conditions", ()) if item.get("type") != kind]
    status["conditions"] = [*others, {**shown, "reason": reason, "message": message}]


def _delete(pods: list[Version]) -> list[Action]:
    return [Delete(PODS, pod.key.namespace, pod.key.name, Deletion(uid=pod.uid)) for pod in pods]
