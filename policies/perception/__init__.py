"""How perception minds learn: fights are recorded, tasks make rows of them, one supervised trainer."""
