"""The operations of EMR that the lab has, by the names that EMR gives them, and its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from emr_lab.endpoint.operations import (
    clusters,
    instances,
    interruptions,
    release_labels,
    security_configurations,
    sessions,
    steps,
)
from emr_lab.endpoint.operations.emr import Emr, Members

# Raised in every operation: ValidationException or InvalidRequestException where EMR would not do it, NotOfferedError
# where the lab has not got it, OSError where the change cannot be saved.
OPERATIONS: Mapping[str, Callable[[Emr, Members], dict[str, Any]]] = {
    "AddJobFlowSteps": steps.add_job_flow_steps,
    "AddTags": clusters.add_tags,
    "CancelSteps": steps.cancel_steps,
    "CreateSecurityConfiguration": security_configurations.create_security_configuration,
    "DeleteSecurityConfiguration": security_configurations.delete_security_configuration,
    "DescribeCluster": clusters.describe_cluster,
    "DescribeSecurityConfiguration": security_configurations.describe_security_configuration,
    "DescribeStep": steps.describe_step,
    "GetAutoTerminationPolicy": clusters.get_auto_termination_policy,
    "GetManagedScalingPolicy": clusters.get_managed_scaling_policy,
    "GetSession": sessions.get_session,
    "GetSessionEndpoint": sessions.get_session_endpoint,
    "ListBootstrapActions": clusters.list_bootstrap_actions,
    "ListClusters": clusters.list_clusters,
    "ListInstanceFleets": instances.list_instance_fleets,
    "ListInstanceGroups": instances.list_instance_groups,
    "ListInstances": instances.list_instances,
    "ListReleaseLabels": release_labels.list_release_labels,
    "ListSecurityConfigurations": security_configurations.list_security_configurations,
    "ListSessions": sessions.list_sessions,
    "ListSteps": steps.list_steps,
    "ListSupportedInstanceTypes": release_labels.list_supported_instance_types,
    "ModifyCluster": clusters.modify_cluster,
    "ModifyInstanceFleet": instances.modify_instance_fleet,
    "ModifyInstanceGroups": instances.modify_instance_groups,
    "PutAutoTerminationPolicy": clusters.put_auto_termination_policy,
    "PutManagedScalingPolicy": clusters.put_managed_scaling_policy,
    "RemoveAutoTerminationPolicy": clusters.remove_auto_termination_policy,
    "RemoveManagedScalingPolicy": clusters.remove_managed_scaling_policy,
    "RemoveTags": clusters.remove_tags,
    "RunJobFlow": clusters.run_job_flow,
    "SetKeepJobFlowAliveWhenNoSteps": clusters.set_keep_job_flow_alive_when_no_steps,
    "SetTerminationProtection": clusters.set_termination_protection,
    "StartSession": sessions.start_session,
    "TerminateJobFlows": clusters.terminate_job_flows,
    "TerminateSession": sessions.terminate_session,
}
# By names that EMR has not got.
LAB_OPERATIONS: Mapping[str, Callable[[Emr, Members], dict[str, Any]]] = {
    "SendSpotInterruption": interruptions.send_spot_interruption,
}
