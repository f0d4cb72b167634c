-- Each decision: who asked for what, on whose behalf, what was answered and why.
SELECT event_id AS decision_id, event_date, event_time, tenant_id, agent_id, agent_version, session_id, workflow_id,
       parent_agent_id,
       json_extract_string(authorization_boundary, '$.subject_type') AS subject_type,
       json_extract_string(authorization_boundary, '$.principal') AS principal,
       json_extract_string(authorization_boundary, '$.key') AS key_id,
       action, resource_type, resource_id, tool_name, tool_call_id, system, data_classes, boundary,
       decision, decision IN ('allow', 'modify') AS permitted, enforced_action, mode, reason_code,
       coalesce(nullif(array_to_string(rule_ids, ', '), ''), reason_code) AS rule,
       reasons, rule_ids, controls, json_extract_string(details, '$.detail') AS detail,
       approval_id, approval_state, json_extract_string(details, '$.stop') AS stop_id,
       json_extract_string(details, '$.shadow.decision') AS shadow_decision,
       bundle_hash, atoms, authorization_boundary, arguments, arguments_digest, risk_steps, duration_us,
       trace_id, span_id, retention_class, details, log_id, seq
FROM evidence
WHERE event_type = 'decision'
