-- Each approval that was asked for: one row, from all its events.
SELECT approval_id, max(tenant_id) AS tenant_id, max(agent_id) AS agent_id, max(session_id) AS session_id,
       max(workflow_id) AS workflow_id, max(action) AS action, max(resource_type) AS resource_type,
       max(resource_id) AS resource_id, max(tool_name) AS tool_name,
       min_by(rule_ids, struct(event_time, seq)) AS rule_ids, min_by(controls, struct(event_time, seq)) AS controls,
       max(get_json_object(details, '$.decision')) AS decision_id,
       max(get_json_object(details, '$.justification')) AS justification,
       max_by(approval_state, struct(event_time, seq)) AS state,
       min(event_time) FILTER (WHERE event_type = 'approval_requested') AS requested_at,
       min(event_time) FILTER (WHERE approval_state IN ('approved', 'denied', 'expired', 'cancelled')) AS decided_at,
       (unix_micros(min(event_time) FILTER (WHERE approval_state IN ('approved', 'denied', 'expired', 'cancelled')))
           - unix_micros(min(event_time) FILTER (WHERE event_type = 'approval_requested'))) / 1e6 AS took_s,
       array_sort(collect_set(CASE WHEN event_type = 'approval_granted' THEN approver_id END)) AS approvers,
       max(CASE WHEN event_type = 'approval_denied' THEN approver_id END) AS denied_by,
       count(CASE WHEN event_type = 'approval_delegated' THEN 1 END) AS delegations,
       count(CASE WHEN event_type = 'approval_escalated' THEN 1 END) AS escalations,
       min(event_time) FILTER (WHERE event_type = 'approval_consumed') AS used_at,
       max(get_json_object(details, '$.permitted')) AS permitted_decision_id,
       max(bundle_hash) AS bundle_hash
FROM evidence
WHERE event_type LIKE 'approval%' AND approval_state IS NOT NULL
GROUP BY approval_id
