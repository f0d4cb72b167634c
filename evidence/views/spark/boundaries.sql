-- What each session of each agent was entitled to and touched: a row for each system and boundary that it came to.
-- `data_classes` and `tools` are those of permitted actions, `refused_*` those of all others. A null `system` or
-- `boundary`, or `unclassified` actions, are such as the catalog does not know.
SELECT tenant_id, agent_id, session_id, workflow_id, parent_agent_id, agent_version, subject_type, principal, key_id,
       system, boundary,
       array_sort(array_distinct(flatten(collect_list(CASE WHEN permitted THEN data_classes END)))) AS data_classes,
       array_sort(array_distinct(flatten(collect_list(CASE WHEN NOT permitted THEN data_classes END))))
           AS refused_data_classes,
       array_sort(collect_set(CASE WHEN permitted THEN tool_name END)) AS tools,
       array_sort(collect_set(CASE WHEN NOT permitted THEN tool_name END)) AS refused_tools,
       count(*) AS decisions,
       count(CASE WHEN permitted THEN 1 END) AS permitted,
       count(CASE WHEN decision = 'deny' THEN 1 END) AS denied,
       count(CASE WHEN decision = 'escalate' THEN 1 END) AS escalated,
       count(CASE WHEN data_classes IS NULL THEN 1 END) AS unclassified,
       min(event_time) AS first_time, max(event_time) AS last_time
FROM decisions
GROUP BY tenant_id, agent_id, session_id, workflow_id, parent_agent_id, agent_version, subject_type, principal, key_id,
         system, boundary
