get_usr stays
