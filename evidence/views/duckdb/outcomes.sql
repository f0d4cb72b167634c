-- What each permitted action came to, as it was reported. `witnessed`: by somebody else than the agent.
SELECT json_extract_string(details, '$.decision') AS decision_id, event_id AS outcome_id, event_date, event_time, tenant_id,
       agent_id, session_id, workflow_id, action, resource_type, resource_id, tool_name, outcome,
       CAST(json_extract_string(details, '$.complete') AS BOOLEAN) AS complete,
       CAST(json_extract_string(details, '$.witness') AS BOOLEAN) AS witnessed,
       json_extract_string(details, '$.result_digest') AS result_digest,
       json_extract_string(details, '$.key') AS key_id, bundle_hash, log_id, seq
FROM evidence
WHERE event_type = 'outcome'
