def get_usr(id):
    return db.get_usr(id)  # TODO: cache
