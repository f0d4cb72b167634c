-- Each denied decision. `rule` names the rules that matched, or the reason where none did (such as `default_deny`).
SELECT *
FROM decisions
WHERE decision = 'deny'
