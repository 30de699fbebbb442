from app.users import get_usr
print(get_usr(1), get_usr_name)
