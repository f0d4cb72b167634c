-- What each permitted action came to, as it was reported. `witnessed`: by somebody else than the agent.
SELECT get_json_object(details, '$.decision') AS decision_id, event_id AS outcome_id, event_date, event_time, tenant_id,
       agent_id, session_id, workflow_id, action, resource_type, resource_id, tool_name, outcome,
       CAST(get_json_object(details, '$.complete') AS BOOLEAN) AS complete,
       CAST(get_json_object(details, '$.witness') AS BOOLEAN) AS witnessed,
       get_json_object(details, '$.result_digest') AS result_digest,
       get_json_object(details, '$.key') AS key_id, bundle_hash, log_id, seq
FROM evidence
WHERE event_type = 'outcome'
