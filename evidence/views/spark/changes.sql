-- What people and programs changed: keys, principals, agents, bundles, stops, channels, how long evidence is kept, whose
-- data was erased. `changed_by` is the id of the key with which it was asked, and null for what time did.
SELECT event_id AS change_id, event_date, event_time, tenant_id, event_type,
       coalesce(get_json_object(details, '$.by'), CASE WHEN event_type IN ('agent_registered', 'agent_claimed')
           THEN get_json_object(details, '$.key') END) AS changed_by,
       agent_id, workflow_id, bundle_hash, get_json_object(details, '$.replaces') AS replaces,
       get_json_object(details, '$.reason') AS reason, details, log_id, seq
FROM evidence
WHERE event_type IN ('agent_claimed', 'agent_registered', 'bundle_activated', 'bundle_shadowed', 'bundle_stored',
                     'channel_removed', 'channel_set', 'hold_released', 'hold_set', 'key_created', 'key_revoked',
                     'principal_set', 'retention_set', 'stop_expired', 'stop_release_requested', 'stop_released',
                     'stop_set', 'subject_erased')
