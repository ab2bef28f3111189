"""Analysis tells: tables, intervals and figures from the record alone, without torch."""
