"""The admin's model, which has no table."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Know the model."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="DeadLetter",
            fields=[("id", models.CharField(max_length=12, primary_key=True, serialize=False))],
            options={
                "verbose_name": "dead letter",
                "verbose_name_plural": "dead letters and counters",
                "permissions": (("replay_deadletter", "Can replay dead letters"),),
                "managed": False,
                "default_permissions": ("view",),
                "base_manager_name": "objects",
            },
        ),
    )
