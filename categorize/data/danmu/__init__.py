"""Raw danmu (time-synchronised video comments) to tables of comments: read, merged by id, cleaned and counted."""
