"""Operations on a running stack: up, down, deploy, secret rotation, reload, silences, demo traffic."""
