-- What should not have happened, such as arguments that were executed and were not those that were allowed. A finding
-- about many decisions (`outcome_overdue`) names them in `details`, and has no `decision_id`.
SELECT event_id AS finding_id, event_date, event_time, tenant_id, agent_id, session_id, workflow_id, action, resource_type,
       resource_id, tool_name, reason_code, json_extract_string(details, '$.decision') AS decision_id, details, log_id, seq
FROM evidence
WHERE event_type = 'finding'
